SELECT id, item
FROM fungible_items
WHERE topic = $1 AND id > $2 AND expires_at > fungible_now()
ORDER BY id
