'use strict'
// JSON resources in a map of this process. Mended: in files that all instances share.
const { App, MENDED, empty, json, random, table, withHeader } = require('./tiny.js')

const app = new App()
const tasks = table('tasks', { shared: MENDED })
const unknown = () => json({ error: 'no such task' }, 404)

app.on('POST', '/tasks', (request) => {
  const id = random(8)
  tasks.put(id, { title: request.json().title, done: false })
  return withHeader(json({ id }, 201), 'Location', `/tasks/${id}`)
})

app.on('GET', '/tasks/{id}', (request, { id }) => (tasks.get(id) ? json(tasks.get(id)) : unknown()))

app.on('PATCH', '/tasks/{id}', (request, { id }) => {
  const { done } = request.json()
  const changed = tasks.change(id, (task) => ({ ...task, done }))
  return changed ? json(changed) : unknown()
})

app.on('DELETE', '/tasks/{id}', (request, { id }) => (tasks.delete(id) ? empty() : unknown()))

app.serve()
