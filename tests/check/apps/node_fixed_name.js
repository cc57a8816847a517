'use strict'
// Settings of this process, of which there are three; another name is refused. Mended: they are shared.
const { App, MENDED, json, table } = require('./tiny.js')

const app = new App()
const settings = table('settings', { shared: MENDED })
const ALLOWED = { theme: ['dark', 'light'], density: ['low', 'high'], language: ['en', 'fr'] }

app.on('PUT', '/settings/{name}', (request, { name }) => {
  const { value } = request.json()
  if (!(ALLOWED[name] || []).includes(value)) return json({ error: 'no such setting' }, 422)
  settings.put(name, { value })
  return json({ [name]: value })
})

app.on('GET', '/settings/{name}', (request, { name }) => json({ [name]: (settings.get(name) || { value: null }).value }))

app.serve()
