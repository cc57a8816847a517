'use strict'
// A switch in this process's memory that nobody names: who comes later finds it as the last one has left it.
// Mended: it is shared.
const { App, MENDED, json, table } = require('./tiny.js')

const app = new App()
const state = table('switch', { shared: MENDED })

app.on('POST', '/maintenance', () => {
  state.put('maintenance', true)
  return json({ maintenance: true })
})

app.on('GET', '/maintenance', () => json({ maintenance: Boolean(state.get('maintenance')) }))

app.serve()
