-- Whether another account than $3 has the name ($1) or the e-mail address ($2), in whatever case.
select exists (select from users where lower(username) = lower($1::text) and id is distinct from $3::int)
           as username_taken,
       exists (select from users where lower(email) = lower($2::text) and id is distinct from $3::int) as email_taken
