-- Deletes a campaign ($1) that was locked, with its ties and links.
delete from campaigns where id = $1
