-- Deletes an account ($1) with its DIDs, campaigns, links, sessions and keys.
delete from users where id = $1 returning id
