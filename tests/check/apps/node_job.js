'use strict'
// A job of several steps, its progress in a map of this process.
// Mended: progress in files that all instances share, and whoever looks at an abandoned job goes on with it.
const { App, MENDED, json, random, sleep, table, text, withHeader } = require('./tiny.js')

const app = new App()
const jobs = table('jobs', { shared: MENDED })
const me = random(4)
const STEPS = 4
const LEASE_MS = 500

const leased = (job) => ({ ...job, worker: me, leasedUntil: Date.now() + LEASE_MS })
const abandoned = (job) => job.done < STEPS && job.leasedUntil < Date.now()

const work = async (id) => {
  let job = jobs.get(id)
  while (job.worker === me && job.done < STEPS) {
    await sleep(100)
    job = jobs.change(id, (now) => (now.worker === me ? leased({ ...now, done: now.done + 1 }) : now))
  }
}

const look = (id) => {
  const job = jobs.get(id)
  if (job && MENDED && abandoned(job)) {
    if (jobs.change(id, (now) => (abandoned(now) ? leased(now) : now)).worker === me) work(id)
  }
  return job
}

app.on('POST', '/jobs', () => {
  const id = random()
  jobs.put(id, leased({ done: 0 }))
  work(id)
  return withHeader(json({ id }, 202), 'Location', `/jobs/${id}`)
})

app.on('GET', '/jobs/{id}', (request, { id }) => {
  const job = look(id)
  if (!job) return json({ error: 'no such job' }, 404)
  return json({ state: job.done === STEPS ? 'done' : 'running', percent: (100 * job.done) / STEPS })
})

app.on('GET', '/jobs/{id}/result', (request, { id }) => {
  const job = look(id)
  return job && job.done === STEPS ? text('42 lines counted') : text('no result', 404)
})

app.serve()
