'use strict'
// Tokens are shared, but each process believes one that it has seen, until it revokes it itself. Mended: it looks.
const { App, MENDED, empty, json, random, table } = require('./tiny.js')

const app = new App()
const tokens = table('tokens', { shared: true })
const believed = new Set()

const isGood = (request) => {
  const token = (request.headers.authorization || '').replace('Bearer ', '')
  if (!MENDED && believed.has(token)) return true
  if (!token || !tokens.get(token)) return false
  believed.add(token)
  return true
}

app.on('POST', '/tokens', () => {
  const token = random(16)
  tokens.put(token, { good: true })
  return json({ token }, 201)
})

app.on('GET', '/me', (request) => (isGood(request) ? json({ user: 'ada' }) : json({ error: 'unknown token' }, 401)))

app.on('DELETE', '/tokens/{token}', (request, { token }) => {
  tokens.delete(token)
  believed.delete(token)
  return empty()
})

app.serve()
