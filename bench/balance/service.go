package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Service is a distribution of service times: how long a worker of a backend is busy with a request, while nothing is
// wrong with the backend.
// Immutable.
type Service struct {
	Name string // as ParseService reads it
	Mean time.Duration
	draw func(r *rand.Rand) float64 // in seconds
}

// String returns what ParseService reads.
func (s Service) String() string { return s.Name }

// ParseService reads a distribution:
//
//	lognormal:10ms:1      mean and σ
//	exponential:10ms      mean
//	constant:10ms
//	pareto:10ms:2.2       mean and α above 1
//	bimodal:5ms:0.1:100ms so long, but a part of them so long; both constant
func ParseService(text string) (Service, error) {
	words := strings.Split(text, ":")
	fail := func() (Service, error) {
		return Service{}, fmt.Errorf("%q is no distribution: lognormal:10ms:1, exponential:10ms, constant:10ms, "+
			"pareto:10ms:2.2 or bimodal:5ms:0.1:100ms", text)
	}
	if len(words) < 2 {
		return fail()
	}
	first, err := time.ParseDuration(words[1])
	if err != nil || first <= 0 {
		return fail()
	}
	var shape float64
	if len(words) > 2 {
		if shape, err = strconv.ParseFloat(words[2], 64); err != nil || !(shape > 0) {
			return fail()
		}
	}
	switch {
	case words[0] == "lognormal" && len(words) == 3 && shape <= 4:
		return lognormal(first, shape), nil
	case words[0] == "exponential" && len(words) == 2:
		return exponential(first), nil
	case words[0] == "constant" && len(words) == 2:
		return constant(first), nil
	case words[0] == "pareto" && len(words) == 3 && shape > 1:
		return pareto(first, shape), nil
	case words[0] == "bimodal" && len(words) == 4 && shape < 1:
		if long, err := time.ParseDuration(words[3]); err == nil && long > 0 {
			return bimodal(first, shape, long), nil
		}
	}
	return fail()
}

func lognormal(mean time.Duration, sigma float64) Service {
	mu := math.Log(mean.Seconds()) - sigma*sigma/2
	return Service{fmt.Sprintf("lognormal:%v:%v", mean, sigma), mean, func(r *rand.Rand) float64 {
		return math.Exp(mu + sigma*r.NormFloat64())
	}}
}

func exponential(mean time.Duration) Service {
	return Service{fmt.Sprintf("exponential:%v", mean), mean, func(r *rand.Rand) float64 {
		return mean.Seconds() * r.ExpFloat64()
	}}
}

func constant(mean time.Duration) Service {
	return Service{fmt.Sprintf("constant:%v", mean), mean, func(*rand.Rand) float64 { return mean.Seconds() }}
}

func pareto(mean time.Duration, alpha float64) Service {
	least := mean.Seconds() * (alpha - 1) / alpha
	return Service{fmt.Sprintf("pareto:%v:%v", mean, alpha), mean, func(r *rand.Rand) float64 {
		return least / math.Pow(1-r.Float64(), 1/alpha)
	}}
}

func bimodal(short time.Duration, part float64, long time.Duration) Service {
	mean := time.Duration(float64(short)*(1-part) + float64(long)*part)
	return Service{fmt.Sprintf("bimodal:%v:%v:%v", short, part, long), mean, func(r *rand.Rand) float64 {
		if r.Float64() < part {
			return long.Seconds()
		}
		return short.Seconds()
	}}
}
