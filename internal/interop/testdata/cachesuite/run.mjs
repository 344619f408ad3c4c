// Runs all tests of the suite at once against the proxy at BASE: node run.mjs BASE. It prints {id: {kind, result, reason}}.
// The suite's own command line runs 25 at a time, which takes 50 s for the same results.
import { runTests, getResults } from './test-engine/client/runner.mjs'
import { determineTestResult, resultTypes } from './test-engine/lib/results.mjs'
import suites from './tests/index.mjs'

await runTests(suites, false, process.argv[2], Infinity)
const results = getResults()
const verdicts = {}
for (const test of suites.flatMap(suite => suite.tests)) {
  if (!(test.id in results)) continue // for browsers
  const verdict = determineTestResult(suites, test.id, results)
  const result = Object.keys(resultTypes).find(name => resultTypes[name] === verdict)
  verdicts[test.id] = { kind: test.kind ?? 'required', result, reason: String(results[test.id]) }
}
process.stdout.write(JSON.stringify(verdicts), () => process.exit())
