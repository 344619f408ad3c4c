// Stands for the npm package undici, of which the suite uses an Agent that tells of interim answers: it is the dispatcher
// of node's own fetch, which has been used before, and hands these answers to the suite's handler.
const own = globalThis[Symbol.for('undici.globalDispatcher.1')]

exports.Agent = class {
  compose (interceptor) {
    return {
      dispatch (options, handler) {
        let listener
        interceptor((_, l) => { listener = l })(options, {})
        return own.dispatch(options, Object.assign(Object.create(handler), {
          onHeaders (status, fields, ...rest) {
            const named = {}
            for (let i = 0; i < fields.length; i += 2) named[String(fields[i]).toLowerCase()] = String(fields[i + 1])
            listener.onResponseStart(null, status, named)
            return handler.onHeaders(status, fields, ...rest)
          }
        }))
      }
    }
  }
}
