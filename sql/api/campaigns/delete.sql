-- Deletes a campaign ($2) of a seller ($1), with its ties and links.
delete from campaigns where user_id = $1 and id = $2 returning id
