package budget

import "testing"

func TestBucket_burstAndRate(t *testing.T) {
	for _, l := range []Limit{{400, 40}, {50, 5}, {10, 1}, {2000, 400}} {
		for _, from := range []int64{0, 1, 3e9 + 7, 1 << 60} {
			var b Bucket
			spend := func(most int32, now int64) (n int32) {
				for n < most && b.Spend(l, 1, now) {
					n++
				}
				if n < most {
					b.level-- // the unit that was not allowed
				}
				return n
			}
			if n := spend(3*l.burst, from); n != l.burst {
				t.Errorf("%v: %d at once", l, n)
			}
			if n := spend(3*l.burst, from+2e9); n < l.perSecond || n > 3*l.perSecond {
				t.Errorf("%v: %d after two seconds", l, n)
			}
			sum := int32(0)
			for i := range 100 {
				sum += spend(l.burst, from+2e9+int64(i)*1e9/7)
			}
			if want := l.perSecond * 99 / 7; sum < want-l.perSecond || sum > want+l.perSecond {
				t.Errorf("%v: %d in small steps, want about %d", l, sum, want)
			}
			if n := spend(3*l.burst, from+1e15); n < l.burst || n > l.burst+1 {
				t.Errorf("%v: %d much later", l, n)
			}
		}
	}
}

func TestBucket_payments(t *testing.T) {
	l := Limit{10, 5}
	var b Bucket
	b.Earn(5)
	if b.level != 0 {
		t.Error("what is earned before it is spent stays", b.level)
	}
	b.Prepay(3)
	b.Earn(5)
	for i := range 13 {
		if !b.Spend(l, 1, 1) {
			t.Error("not allowed", i)
		}
	}
	if b.Spend(l, 1, 1) {
		t.Error("more than was paid for")
	}
	b.Earn(4)
	if b.level != 7 {
		t.Error(b.level)
	}
	for range 100 {
		b.Prepay(prepaidMax / 2)
	}
	if b.level != -prepaidMax {
		t.Error(b.level)
	}
}
