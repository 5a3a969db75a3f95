-- A seller ($1), who is not deleted until the end of the transaction.
select id from users where id = $1 and role = 'user' for key share
