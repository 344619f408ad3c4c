// Runs tests of the suite at once against the proxy at BASE: node run.mjs BASE [ID...]. Without IDs, it runs all of
// them; with them, those and the tests that they depend on. It prints {id: {kind, result, reason}}. The suite's own
// command line runs 25 at a time, which takes 50 s for the same results.
import { runTests, getResults } from './test-engine/client/runner.mjs'
import { determineTestResult, resultTypes } from './test-engine/lib/results.mjs'
import suites from './tests/index.mjs'

const [base, ...ids] = process.argv.slice(2)
let tests = suites.flatMap(suite => suite.tests)
if (ids.length > 0) {
  const wanted = new Set(ids)
  for (const id of wanted) { // it visits those that are added, too
    for (const needed of tests.find(test => test.id === id).depends_on ?? []) wanted.add(needed)
  }
  tests = tests.filter(test => wanted.has(test.id))
}
await runTests([{ tests }], false, base, Infinity)
const results = getResults()
const verdicts = {}
for (const test of tests) {
  if (!(test.id in results)) continue // for browsers
  const verdict = determineTestResult(suites, test.id, results)
  const result = Object.keys(resultTypes).find(name => resultTypes[name] === verdict)
  verdicts[test.id] = { kind: test.kind ?? 'required', result, reason: String(results[test.id]) }
}
process.stdout.write(JSON.stringify(verdicts), () => process.exit())
