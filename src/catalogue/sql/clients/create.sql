-- A new client, made by $6; it registers if $8.
insert into clients (client_identifier, name, department, status, notes, created_by, access, registers)
values ($1, $2, $3::text, $4, $5::text, $6, $7, $8)
returning id
