// Package hitratio is a laboratory for cache policies: it drives simulators and real caches with generated and recorded
// accesses, and tells what each of them hits.
//
// It is not about speed, and not about weights, expiry or concurrency: every entry counts as one, and one goroutine
// drives a cache.
//
// Run takes policies (Makers) and workloads (Generated, Traces) and returns a Table, which can be written as text,
// Markdown, JSON and SVG. `edge-bench hitratio` is that as a command. A Policy has one owner; Run has as many cells in
// work as there are CPUs. The same seed gives the same accesses on every machine.
//
// ufo is the policy of package tinyufo, which docs/design/hit-ratio.md states; a test holds the package against it.
//
// Sources: S3-FIFO (Yang and others, SOSP 2023), TinyLFU (Einziger, Friedman and Manes, 2017), Cloudflare's TinyUFO,
// hit density of window and main (Manes, Caffeine, 2026), and for the probes the comparison of reuse of LIRS (Jiang and
// Zhang, 2002). The last two adaptations, look, are our own: they make the sketch forget sooner when newcomers do as
// well as what has been in main for long.
package hitratio
