// Common randomness for Node.js, loaded into it by NODE_OPTIONS.
//
// What Node's OpenSSL draws depends on the time and on addresses in memory too, so answering its system calls is not
// enough: until the instance is ready, the functions that applications call answer from a stream that is the same in
// every process. A byte in the file behind FUNGIBLE_DRAWS_FD tells when that is over.
"use strict";

const crypto = require("node:crypto");
const { readSync } = require("node:fs");
const { syncBuiltinESMExports } = require("node:module");

const descriptor = Number(process.env.FUNGIBLE_DRAWS_FD);
const { createHash, randomBytes, randomFill, randomFillSync, randomInt, randomUUID } = crypto;
const { getRandomValues, randomUUID: webRandomUUID } = crypto.webcrypto;
const { random } = Math;
const drawn = new Map();
let settled = false;

function isCommon() {
  if (settled) return false;
  try {
    settled = readSync(descriptor, Buffer.alloc(1), 0, 1, 0) > 0;
  } catch {
    settled = true; // Somebody closed it, so there is no telling any more.
  }
  return !settled;
}

// Bytes that depend on their number and on how many draws of that number there were.
function common(size) {
  const nth = drawn.get(size) ?? 0;
  drawn.set(size, nth + 1);
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at += 32) {
    createHash("sha256").update(`${size} ${nth} ${at}`).digest().copy(bytes, at);
  }
  return bytes;
}

function fill(view, offset = 0, size = undefined) {
  const target = ArrayBuffer.isView(view) ? view : new Uint8Array(view);
  const unit = target.BYTES_PER_ELEMENT ?? 1;
  const bytes = new Uint8Array(target.buffer, target.byteOffset + offset * unit);
  const length = Math.min(size === undefined ? Infinity : size * unit, target.byteLength - offset * unit);
  bytes.set(common(length));
  return view;
}

function uuid() {
  const bytes = common(16);
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function fraction() {
  return common(6).readUIntBE(0, 6) / 2 ** 48;
}

crypto.randomBytes = function (size, callback) {
  if (!isCommon() || !Number.isSafeInteger(size) || size < 0) return randomBytes.apply(this, arguments);
  const bytes = common(size);
  if (callback === undefined) return bytes;
  process.nextTick(callback, null, bytes);
};
crypto.pseudoRandomBytes = crypto.randomBytes;
crypto.randomFillSync = function (view, offset, size) {
  return isCommon() ? fill(view, offset, size) : randomFillSync.apply(this, arguments);
};
crypto.randomFill = function (view, ...rest) {
  if (!isCommon()) return randomFill.call(this, view, ...rest);
  const callback = rest.pop();
  process.nextTick(callback, null, fill(view, ...rest));
};
crypto.randomInt = function (low, high, callback) {
  if (!isCommon()) return randomInt.apply(this, arguments);
  const [from, to, then] = typeof high === "number" ? [low, high, callback] : [0, low, high];
  const number = from + Math.floor(fraction() * (to - from));
  if (then === undefined) return number;
  process.nextTick(then, null, number);
};
crypto.randomUUID = function () {
  return isCommon() ? uuid() : randomUUID.apply(this, arguments);
};
Math.random = () => (isCommon() ? fraction() : random());

const web = Object.getPrototypeOf(crypto.webcrypto);
web.getRandomValues = function (view) {
  return isCommon() ? fill(view) : getRandomValues.call(crypto.webcrypto, view);
};
web.randomUUID = function () {
  return isCommon() ? uuid() : webRandomUUID.apply(crypto.webcrypto, arguments);
};

syncBuiltinESMExports();
