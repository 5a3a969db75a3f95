-- Whether a campaign ($2), whoever's it is, has a link ($1).
select link_exists($1, $2) as there
