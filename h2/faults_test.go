package h2

import (
	"testing"

	"github.com/edge-proxy/edge/message/section"
)

// A fault of a section without an error would be none.
func TestFaults_allHaveErrors(t *testing.T) {
	for f := section.NoFault; f < section.FaultCount; f++ {
		switch e := faults[f]; {
		case (e == nil) != (f == section.NoFault):
			t.Errorf("fault %d, %q: error %v", f, f, e)
		case e != nil && (e.Error() != "h2: "+f.String() || f.String() == ""):
			t.Errorf("fault %d, %q: error %v", f, f, e)
		}
	}
}
