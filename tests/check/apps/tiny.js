'use strict'
// A small web framework on node:http: what the Node applications of the zoo stand on.
//
// It has no fault of its own, so that each application shows only the one planted in it. It finishes what it has begun
// when it is asked to end, and it answers a repeated Idempotency-Key with the first answer, from whichever instance.

const cluster = require('node:cluster')
const crypto = require('node:crypto')
const fs = require('node:fs')
const http = require('node:http')
const path = require('node:path')

const MENDED = process.env.MENDED === '1'
const SHARED_DIR = process.env.SHARED_DIR || '.'
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))
const random = (bytes = 12) => crypto.randomBytes(bytes).toString('hex')
const copy = (value) => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)))

/** Values by key in this process's memory. */
class MemoryTable {
  values = new Map()

  get(key) {
    return copy(this.values.get(key))
  }

  put(key, value) {
    this.values.set(key, copy(value))
  }

  /** Puts the value if the key is free; tells whether it was. */
  add(key, value) {
    if (this.values.has(key)) return false
    this.put(key, value)
    return true
  }

  delete(key) {
    return this.values.delete(key)
  }

  /** Replaces the value by `edit(value)` with nobody in between, and gives the new one; undefined if there is none. */
  change(key, edit) {
    if (!this.values.has(key)) return undefined
    this.put(key, edit(this.get(key)))
    return this.get(key)
  }

  increment(key) {
    this.add(key, 0)
    return this.change(key, (count) => count + 1)
  }
}

/** Values by key, a file each: what several processes that have the directory share. */
class FileTable {
  constructor(directory) {
    this.directory = directory
  }

  file(key) {
    fs.mkdirSync(this.directory, { recursive: true })
    return path.join(this.directory, crypto.createHash('sha256').update(key).digest('hex'))
  }

  get(key) {
    try {
      return JSON.parse(fs.readFileSync(this.file(key), 'utf8'))
    } catch (error) {
      if (error.code === 'ENOENT') return undefined
      throw error
    }
  }

  put(key, value) {
    const file = this.file(key)
    const fresh = `${file}.${random(4)}`
    fs.writeFileSync(fresh, JSON.stringify(value))
    fs.renameSync(fresh, file)
  }

  add(key, value) {
    const file = this.file(key)
    const fresh = `${file}.${random(4)}`
    fs.writeFileSync(fresh, JSON.stringify(value))
    try {
      fs.linkSync(fresh, file)
      return true
    } catch (error) {
      if (error.code === 'EEXIST') return false
      throw error
    } finally {
      fs.unlinkSync(fresh)
    }
  }

  delete(key) {
    return this.locked(key, () => {
      if (this.get(key) === undefined) return false
      fs.unlinkSync(this.file(key))
      return true
    })
  }

  change(key, edit) {
    return this.locked(key, () => {
      const value = this.get(key)
      if (value === undefined) return undefined
      this.put(key, edit(value))
      return this.get(key)
    })
  }

  increment(key) {
    this.add(key, 0)
    return this.change(key, (count) => count + 1)
  }

  locked(key, work) {
    const lock = `${this.file(key)}.lock`
    for (;;) {
      try {
        fs.mkdirSync(lock)
        break
      } catch (error) {
        if (error.code !== 'EEXIST') throw error
        this.breakAbandoned(lock)
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3)
      }
    }
    try {
      return work()
    } finally {
      fs.rmdirSync(lock)
    }
  }

  /** A process that was killed may have left its lock. */
  breakAbandoned(lock) {
    try {
      if (Date.now() - fs.statSync(lock).mtimeMs > 2000) fs.rmdirSync(lock)
    } catch (error) {
      if (error.code !== 'ENOENT') throw error
    }
  }
}

/** A table common to all instances, or one of this process's own. */
const table = (name, { shared }) => (shared ? new FileTable(path.join(SHARED_DIR, name)) : new MemoryTable())

/** One key for all instances, or one drawn now. */
const signingKey = ({ shared }) => (shared ? 'one key for all instances' : crypto.randomBytes(32))
const signature = (key, payload) => crypto.createHmac('sha256', key).update(payload).digest('hex')

/** The value as `payload.signature`. */
const sign = (key, value) => {
  const payload = Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${payload}.${signature(key, payload)}`
}

/** What was signed, or undefined where the signature is wrong. */
const unsign = (key, text = '') => {
  const [payload, given] = text.split('.')
  return given === signature(key, payload) ? JSON.parse(Buffer.from(payload, 'base64url')) : undefined
}

const text = (body, status = 200, kind = 'text/plain') => ({
  status,
  body: Buffer.from(body),
  headers: [['Content-Type', `${kind}; charset=utf-8`]],
})
const page = (body, status = 200) => text(`<!doctype html><title>Zoo</title><body>${body}</body>`, status, 'text/html')
const json = (value, status = 200) => text(JSON.stringify(value), status, 'application/json')
const redirect = (location) => ({ status: 303, body: Buffer.alloc(0), headers: [['Location', location]] })
const empty = () => ({ status: 204, body: Buffer.alloc(0), headers: [] })
const withHeader = (answer, name, value) => ({ ...answer, headers: [...answer.headers, [name, value]] })
const withCookie = (answer, name, value) =>
  withHeader(answer, 'Set-Cookie', `${name}=${value}; Path=/; HttpOnly; SameSite=Lax`)

/** Routes and the server. `idempotent: false` does an unsafe request again when it is sent again. */
class App {
  constructor({ idempotent = true } = {}) {
    this.routes = []
    this.answers = idempotent ? table('answers', { shared: true }) : null
  }

  /** Registers a handler; `{name}` in the path becomes a key of its second argument. */
  on(method, pattern, handler) {
    this.routes.push([method, new RegExp(`^${pattern.replace(/\{(\w+)\}/g, '(?<$1>[^/]+)')}$`), handler])
  }

  async answer(request) {
    const sent = request.headers['idempotency-key']
    if (!this.answers || !sent || ['GET', 'HEAD', 'OPTIONS'].includes(request.method)) return this.handle(request)
    const key = `${request.method} ${request.path} ${sent}`
    if (this.answers.add(key, 'under way')) {
      const answer = await this.handle(request)
      this.answers.put(key, { ...answer, body: answer.body.toString('base64') })
      return answer
    }
    for (let tries = 0; tries < 500; tries++) {
      const kept = this.answers.get(key)
      if (kept !== 'under way') return { ...kept, body: Buffer.from(kept.body, 'base64') }
      await sleep(10)
    }
    return text('the first request with this key is still under way', 409)
  }

  async handle(request) {
    for (const [method, pattern, handler] of this.routes) {
      const match = pattern.exec(request.path)
      if (match && method === request.method) return handler(request, match.groups || {})
    }
    return request.path === '/' ? text('ready') : text('not found', 404)
  }

  /** Serves on the port given as the first argument until SIGTERM. */
  serve({ graceful = true, workers = 1 } = {}) {
    if (workers > 1 && cluster.isPrimary) {
      // It accepts, and hands each connection to the next worker.
      for (let number = 0; number < workers; number++) cluster.fork()
      process.on('SIGTERM', () => Object.values(cluster.workers).forEach((worker) => worker.process.kill('SIGTERM')))
      return
    }
    const server = http.createServer(async (incoming, outgoing) => {
      const chunks = []
      for await (const chunk of incoming) chunks.push(chunk)
      let answer
      try {
        answer = await this.answer(requestFrom(incoming, Buffer.concat(chunks)))
      } catch (error) {
        answer = text(`bad request: ${error.message}`, 400)
      }
      outgoing.statusCode = answer.status
      for (const [name, value] of answer.headers) outgoing.appendHeader(name, value)
      // One request a connection: an idle connection then never holds up the end.
      outgoing.setHeader('Connection', 'close')
      if (answer.status !== 204) outgoing.setHeader('Content-Length', answer.body.length)
      outgoing.end(answer.body)
    })
    if (graceful) {
      // A moment longer at the door, for those who are already on their way.
      process.on('SIGTERM', () => setTimeout(() => server.close(() => process.exit(0)), 100))
    }
    server.listen(Number(process.argv[2]), '127.0.0.1', 256)
  }
}

const requestFrom = (incoming, body) => {
  const url = new URL(incoming.url, 'http://zoo')
  const cookies = (incoming.headers.cookie || '').split(/;\s*/).map((pair) => pair.split('='))
  return {
    method: incoming.method,
    path: url.pathname,
    query: Object.fromEntries(url.searchParams),
    headers: incoming.headers,
    cookies: Object.fromEntries(cookies),
    body,
    form: () => Object.fromEntries(new URLSearchParams(body.toString())),
    json: () => JSON.parse(body.toString()),
  }
}

module.exports = { App, MENDED, SHARED_DIR, empty, json, page, random, redirect, sign, signingKey, sleep, table, text, unsign, withCookie, withHeader }
