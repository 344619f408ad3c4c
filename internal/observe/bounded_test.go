package observe

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestBounded_waitsNoLongerThanToldTo(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		in, out := io.Pipe()
		b := NewBounded(out, 2*time.Second)
		begun := time.Now()
		line := []byte("first\n")
		if _, err := b.Write(line); err != ErrWriteWait {
			t.Errorf("got %v, want ErrWriteWait", err)
		}
		copy(line, "xxxxxx") // it is ours again
		if d := time.Since(begun); d != 2*time.Second {
			t.Errorf("waited %v", d)
		}
		if _, err := b.Write([]byte("second\n")); err != ErrWriteWait || time.Since(begun) != 2*time.Second {
			t.Errorf("got %v after %v, want ErrWriteWait at once", err, time.Since(begun))
		}
		var read buffer
		go func() { _, _ = io.Copy(&read, in) }()
		synctest.Wait()
		if n, err := b.Write([]byte("third\n")); n != 6 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		_ = out.Close()
		synctest.Wait()
		wantText(t, "what was read", read.text(), "first\nthird\n")
	})
}

func TestBounded_returnsWhatTheOutputSays(t *testing.T) {
	var out buffer
	b := NewBounded(&out, time.Hour)
	out.setFail(errors.New("disk full"), 3)
	if n, err := b.Write([]byte("line\n")); n != 3 || err == nil || err.Error() != "disk full" {
		t.Errorf("%d, %v", n, err)
	}
}
