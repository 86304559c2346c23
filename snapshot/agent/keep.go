package agent

import (
	"fmt"
	"time"
)

// Keep says which archives stay: the newest of all; the Last newest; and the newest of each of so many hours, days, weeks and months that have one.
// Months, weeks (from Monday) and days are those of UTC.
type Keep struct{ Last, Hourly, Daily, Weekly, Monthly int }

// choose says which of the archives stay. They are in order of time, the newest first.
func (k Keep) choose(times []time.Time) []bool {
	keep := make([]bool, len(times))
	for i := range times {
		keep[i] = i < max(1, k.Last)
	}
	for _, rule := range []struct {
		n      int
		period func(time.Time) string
	}{
		{k.Hourly, func(t time.Time) string { return t.Format("2006-01-02T15") }},
		{k.Daily, func(t time.Time) string { return t.Format(time.DateOnly) }},
		{k.Weekly, func(t time.Time) string { y, w := t.ISOWeek(); return fmt.Sprint(y, " ", w) }},
		{k.Monthly, func(t time.Time) string { return t.Format("2006-01") }},
	} {
		last, left := "", rule.n
		for i, t := range times {
			if p := rule.period(t.UTC()); p != last && left > 0 {
				keep[i], last = true, p
				left--
			}
		}
	}
	return keep
}
