package quic

import "testing"

// A packet of data as each end has it in a warm transfer, without its ciphers: written, kept, acknowledged; read,
// remembered, passed on.
func BenchmarkPacket_warm(b *testing.B) {
	var a Arena
	k := memory{&a, new(kept)}
	var o outgoing
	var s assembly
	var came ranges
	var f frame
	var w window
	w.reset(1200)
	body, d, number := make([]byte, 1150), make([]byte, 0, 1500), int64(0)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		o.write(&a, body)
		from, n, end, _ := o.pick(streamRoom(1180, 4, uint64(o.next)), 1<<60)
		d = appendStream(d[:0], 4, uint64(from), n, end)
		d = o.appendTo(d, from, n)
		o.sent(from, n, end)
		w.sent(n, number, 0)

		if _, err := f.parse(d); err != nil || came.has(number) {
			b.Fatal(err)
		}
		if now, err := s.take(k, f.offset, f.body, f.end, streamGaps); err != nil || len(now) != len(f.body) {
			b.Fatal(err)
		}
		came.add(&a, number)
		d = came.appendAck(d[:0], 0, 100)

		if _, err := f.parse(d); err != nil {
			b.Fatal(err)
		}
		ack := f.ranges()
		if _, last, ok := ack.next(); !ok || last != number {
			b.Fatal(last)
		}
		o.acknowledge(&a, from, n, end)
		w.acked(n, number, number, 0)
		number++
	}
}
