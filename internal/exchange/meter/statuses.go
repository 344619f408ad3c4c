package meter

import "strconv"

// statusMax is above every status.
const statusMax = 1000

// Statuses tells statuses apart: the label of each is one of a few.
// Immutable.
type Statuses struct {
	Labels  []string // by column
	columns [statusMax]uint8
}

// columnOther is what no column is for, in all Statuses.
const columnOther = 0

// ByClass tells the classes apart: 1xx to 5xx.
var ByClass = func() *Statuses {
	s := &Statuses{Labels: []string{"other", "1xx", "2xx", "3xx", "4xx", "5xx"}}
	for status := 100; status < 600; status++ {
		s.columns[status] = uint8(status / 100)
	}
	return s
}()

// Exact tells the statuses of the registry of IANA that are in use apart, and 499: the client has left.
var Exact = func() *Statuses {
	s := &Statuses{Labels: []string{"other"}}
	for _, span := range [][2]int{{100, 103}, {200, 208}, {226, 226}, {300, 305}, {307, 308}, {400, 417}, {421, 426},
		{428, 429}, {431, 431}, {451, 451}, {499, 499}, {500, 508}, {510, 511}} {
		for status := span[0]; status <= span[1]; status++ {
			s.columns[status] = uint8(len(s.Labels))
			s.Labels = append(s.Labels, strconv.Itoa(status))
		}
	}
	return s
}()
