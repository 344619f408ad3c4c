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
// # The policy of package tinyufo
//
// C is the capacity of a shard, all of it is under the shard's lock but uses, which readers raise up to 3.
//
//	start       T = max(1, 5 % of C); period = 10·C; the rest is zero
//	insert(e)   judge(e); sketch.inc(e); small.push(e)
//	            for small.n > T || small.n+main.n > C {
//	              if small.n <= T { remove(victim()); continue }
//	              o = small.pop()
//	              if main.n < C-T { o.uses = 0; main.append(o); continue }
//	              hits of small += o.uses; o.uses times sketch.inc(o)
//	              v = victim(); lead = 1, but 2 if settled && o.uses == 0
//	              if freq(o) >= freq(v)+lead || freq(o) >= 6 && one time in 128 || open > 0 (then open--) {
//	                evict v; o.uses = 0; o.young = true; main[hand++] = o
//	              } else { evict o; every 16th time: probes[hash(o) mod 8] = (o, v), unless that is undecided }
//	            }
//	            every C insertions: adapt()
//	victim()    from the hand on: at each entry that the hand comes to, look(v);
//	            v.uses == 0, or 64 were passed: it is the victim, and the hand remains there
//	            else: hits of main += v.uses; sketch.inc(v); v.uses--; hand++; open--
//	judge(e)    if there is a probe (e, v), end it: v was used since: wrong = 0
//	            v is in main and was not: wrong++; from 5 on: open = C; T += 5 % of C
//	adapt()     d = ln((hits of small/T + 1/2) / (hits of main/(C-T) + 1/2)); both hits = 0
//	            T += sign(d)·min(10 %, 4 %·|d|)·C, by 2 an insertion, and 1 % <= T <= 90 % of C
//	look(v)     count entries, uses, and those without uses, of young and of old entries apart; v is old from now on
//	            after max(16, C/16) young ones, which starts the counts again:
//	              settled = less than 1/12 of the old ones had no use
//	              if a young one has more than 2/3 of the uses of an old one:
//	                unless settled: period = max(2·C, 3/4·period)
//	              else: period = min(16·C, 4/3·period)
//
// The sketch has 4 bits per counter and 4 rows in blocks of 64 bytes, 1.25·C words, at least 1024. It raises only the
// lowest counters of a key. All counters are halved each time that period increments were made, 16 words per increment.
//
// Sources: S3-FIFO (Yang and others, SOSP 2023), TinyLFU (Einziger, Friedman and Manes, 2017), Cloudflare's TinyUFO,
// hit density of window and main (Manes, Caffeine, 2026), and for the probes the comparison of reuse of LIRS (Jiang and
// Zhang, 2002). The last two adaptations, look, are our own: they make the sketch forget sooner when newcomers do as
// well as what has been in main for long.
package hitratio
