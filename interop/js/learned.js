// What is learned by identify: what Weir's example does (`crates/cli/examples/interop.rs`).
import { drained, first, send } from './streams.js'

const IDENTIFY = '/interop/identify/1'
/// What the other side pushes, and this one: js-libp2p pushes by itself when its protocols change.
const PUSHED_ADDRESS = '/ip4/127.0.0.1/tcp/7777'
const PUSHED_NAME = '/interop/pushed/1'
/// What long names begin with, how many there are, and the bytes of each.
const LONG = '/interop/long/'
const LONG_NAMES = 80
const LONG_BYTES = 80
/// Questions for what was learned, 100 ms apart.
const QUESTIONS = 100

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const ignore = (stream) => { stream.close().catch(() => {}) }

/// Of the one peer that there is.
const known = { pushed: false, names: 0 }

export async function serve (node, large) {
  node.addEventListener('peer:identify', ({ detail }) => {
    known.pushed ||= detail.listenAddrs.some((address) => address.toString() === PUSHED_ADDRESS)
    known.names = Math.max(known.names, detail.protocols.filter((name) => name.startsWith(LONG)).length)
  })
  await node.handle(IDENTIFY, async (stream) => {
    try {
      const [what] = await first(stream, 1)
      if (what === 0) await node.handle(PUSHED_NAME, ignore)
      const text = what === 0 ? '!' : what === 1 ? (known.pushed ? 'yes' : 'no') : `${known.names}`
      await send(stream, Buffer.from(text))
      await stream.close()
    } catch (error) { stream.abort(error) }
  })
  if (!large) return
  for (let number = 0; number < LONG_NAMES; number++) {
    await node.handle(`${LONG}${String(number).padStart(3, '0')}/`.padEnd(LONG_BYTES, 'x'), ignore)
  }
}

/// What the listener answers.
async function asked (connection, what, signal) {
  const stream = await connection.newStream(IDENTIFY, { signal })
  const told = drained(stream)
  await send(stream, Buffer.from([what]))
  await stream.close({ signal })
  return (await told).bytes.toString()
}

async function until (holds) {
  for (let question = 0; question < QUESTIONS; question++) {
    if (await holds()) return
    await wait(100)
  }
  throw new Error('nothing of that was told')
}

export async function run (what, node, connection, signal) {
  if (what === 'push') {
    await asked(connection, 0, signal)
    await until(() => known.pushed)
    await node.handle(PUSHED_NAME, ignore)
    await until(async () => await asked(connection, 1, signal) === 'yes')
    return
  }
  await until(() => known.names > 0)
  let text = '0'
  await until(async () => { text = await asked(connection, 2, signal); return text !== '0' })
  console.log(known.names, text)
}
