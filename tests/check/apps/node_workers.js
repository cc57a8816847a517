'use strict'
// Sessions in a map of each of an instance's workers. Mended: in files that all workers of all instances share.
const { App, MENDED, page, random, redirect, table, withCookie } = require('./tiny.js')

const app = new App()
const sessions = table('sessions', { shared: MENDED })

app.on('POST', '/sign-in', (request) => {
  const session = random()
  sessions.put(session, { user: request.form().user, cart: [] })
  return withCookie(redirect('/home'), 'connect.sid', session)
})

app.on('GET', '/home', (request) => {
  const session = sessions.get(request.cookies['connect.sid'] || '')
  if (!session) return redirect('/sign-in')
  return page(`<h1>Hello ${session.user}</h1><p>In the cart: ${session.cart.join(', ') || 'nothing'}</p>`)
})

app.on('POST', '/cart', (request) => {
  const { item } = request.form()
  const add = (session) => ({ ...session, cart: [...session.cart, item] })
  return redirect(sessions.change(request.cookies['connect.sid'] || '', add) ? '/home' : '/sign-in')
})

app.serve({ workers: Number(process.env.WORKERS || 3) })
