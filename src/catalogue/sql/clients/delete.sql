-- Deletes a client ($1) with its PJSIP objects and links.
delete from clients where id = $1 returning id
