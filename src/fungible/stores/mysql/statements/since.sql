SELECT number, item
FROM fungible_items
WHERE topic = %(topic)s AND number > %(number)s AND expires_us > now_us()
ORDER BY number
