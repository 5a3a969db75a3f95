-- Whether there is a campaign ($1), whoever's it is.
select campaign_exists($1) as there
