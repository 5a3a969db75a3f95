-- Others who report a call with this unique id ($1) wait until this transaction has ended.
select lock_uniqueid($1)
