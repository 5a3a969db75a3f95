-- Deletes a link ($1). Its calls go on.
delete from campaign_client_settings where id = $1
