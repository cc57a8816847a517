'use strict'
// An order sent again is a second order. Mended: an Idempotency-Key is remembered where all instances see it.
const { App, MENDED, json, random, table } = require('./tiny.js')

const app = new App({ idempotent: MENDED })
const baskets = table('baskets', { shared: true })

app.on('GET', '/basket', () => json({ basket: random(8) }))

app.on('POST', '/orders', (request) => {
  const { basket } = request.json()
  const order = random(8)
  baskets.add(basket, [])
  baskets.change(basket, (orders) => [...orders, order])
  return json({ order }, 201)
})

app.on('GET', '/baskets/{basket}/orders', (request, { basket }) => {
  const orders = baskets.get(basket) || []
  return json({ count: orders.length, orders })
})

app.serve()
