-- Removes the credentials of a client ($1).
delete from pjsip_auths where client_id = $1 returning id
