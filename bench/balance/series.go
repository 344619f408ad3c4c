package balance

const seriesPoints = 60

// Point is what happened in a sixtieth of a period: the average over all periods of a run.
type Point struct {
	Share    float64 // of the requests that the first backend got, over its fair share
	InFlight float64 // requests under way there, over the average of the others
	Crossing float64 `json:",omitempty"` // part of the requests that leave their zone
}

// series collects Points.
type series struct {
	period      int64 // ns; 0: nothing comes and goes
	members     int
	all, first  [seriesPoints]int
	crossing    [seriesPoints]int
	here, there [seriesPoints]float64 // in flight at the first backend, and at all others
}

// add counts a request that is sent to backend i, which may be in another zone.
func (s *series) add(now int64, i int, crosses bool, exact []int32) {
	if s.period == 0 {
		return
	}
	at := now % s.period * seriesPoints / s.period
	s.all[at]++
	if i == 0 {
		s.first[at]++
	}
	if crosses {
		s.crossing[at]++
	}
	if s.members > 64 {
		return // to add up all of them for each request would take longer than the rest
	}
	others := int32(0)
	for _, n := range exact[1:] {
		others += n
	}
	s.here[at] += float64(exact[0])
	s.there[at] += float64(others)
}

func (s *series) points() []Point {
	if s.period == 0 {
		return nil
	}
	list := make([]Point, seriesPoints)
	for i := range list {
		list[i].Share = float64(s.first[i]) * float64(s.members) / float64(max(s.all[i], 1))
		list[i].Crossing = float64(s.crossing[i]) / float64(max(s.all[i], 1))
		if s.there[i] > 0 {
			list[i].InFlight = s.here[i] * float64(s.members-1) / s.there[i]
		}
	}
	return list
}
