'use strict'
// Passwords are where all instances see them, but each process remembers for 30 s which ones it has found right, and only
// the one that changes a password forgets the old one. Mended: nothing is remembered.
const { App, MENDED, json, random, table, withCookie, withHeader } = require('./tiny.js')

const app = new App()
const passwords = table('passwords', { shared: true })
const sessions = table('sessions', { shared: true })
const foundRight = new Map()

const isRight = (user, password) => {
  const key = JSON.stringify([user, password])
  if ((foundRight.get(key) || 0) > Date.now()) return true
  if (passwords.get(user) !== password) return false
  if (!MENDED) foundRight.set(key, Date.now() + 30000)
  return true
}

const signedIn = ({ user, password }) => {
  if (!isRight(user, password)) return json({ error: 'wrong password' }, 401)
  const session = random(16)
  sessions.put(session, user)
  return withCookie(json({ user }, 201), 'session', session)
}

app.on('GET', '/name', () => json({ name: `ada${random(4)}` }))

app.on('POST', '/users', (request) => {
  const { user, password } = request.json()
  return passwords.add(user, password) ? signedIn({ user, password }) : json({ error: 'the name is taken' }, 409)
})

app.on('POST', '/sign-in', (request) => signedIn(request.json()))

app.on('POST', '/password', (request) => {
  const user = sessions.get(request.cookies.session || '')
  if (!user) return json({ error: 'not signed in' }, 401)
  foundRight.clear()
  passwords.put(user, request.json().password)
  return json({ changed: user })
})

app.on('POST', '/sign-out', (request) => {
  sessions.delete(request.cookies.session || '')
  return withHeader(json({ signed: 'out' }), 'Set-Cookie', 'session=; Path=/; Max-Age=0')
})

app.serve()
