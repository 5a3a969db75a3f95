-- Looks at calls that were written after an erasure was done, for the one whose turn it is. Null: there is none.
select erase_late() as changed
