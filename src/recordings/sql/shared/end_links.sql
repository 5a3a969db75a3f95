-- Ends all links to recordings that an account ($1) has made.
update users set links_epoch = links_epoch + 1 where id = $1 returning id
