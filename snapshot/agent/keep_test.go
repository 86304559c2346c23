package agent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestKeep(t *testing.T) {
	now := time.Date(2026, 11, 22, 17, 30, 0, 0, time.UTC) // a Sunday
	hourly := func(n int) (ts []time.Time) {
		for i := range n {
			ts = append(ts, now.Add(-time.Duration(i)*time.Hour))
		}
		return ts
	}
	kept := func(k Keep, ts []time.Time) (out []string) {
		for i, keep := range k.choose(ts) {
			if keep {
				out = append(out, ts[i].Format("01-02 15h"))
			}
		}
		return out
	}
	tests := []struct {
		name string
		keep Keep
		n    int // hours of hourly archives
		want []string
	}{
		{"nothing there", Keep{Daily: 5}, 0, nil},
		{"the newest stays", Keep{}, 30, []string{"11-22 17h"}},
		{"last", Keep{Last: 3}, 30, []string{"11-22 17h", "11-22 16h", "11-22 15h"}},
		{"fewer than wanted", Keep{Last: 9}, 2, []string{"11-22 17h", "11-22 16h"}},
		{"hourly", Keep{Hourly: 2}, 30, []string{"11-22 17h", "11-22 16h"}},
		{"daily", Keep{Daily: 3}, 100, []string{"11-22 17h", "11-21 23h", "11-20 23h"}},
		{"weekly", Keep{Weekly: 3}, 24 * 30, []string{"11-22 17h", "11-15 23h", "11-08 23h"}},
		{"monthly", Keep{Monthly: 3}, 24 * 90, []string{"11-22 17h", "10-31 23h", "09-30 23h"}},
		{"all", Keep{Last: 1, Hourly: 2, Daily: 2, Weekly: 2, Monthly: 2}, 24 * 60, []string{"11-22 17h", "11-22 16h", "11-21 23h", "11-15 23h", "10-31 23h"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, kept(tt.keep, hourly(tt.n))); d != "" {
				t.Errorf("kept (-want +got):\n%s", d)
			}
		})
	}
	// Applied every hour for four months, it keeps what it says, and no more.
	k := Keep{Last: 2, Hourly: 24, Daily: 7, Weekly: 5, Monthly: 12}
	var there []time.Time
	for i := range 24 * 120 {
		there = append([]time.Time{now.Add(time.Duration(i) * time.Hour)}, there...)
		var left []time.Time
		for j, keep := range k.choose(there) {
			if keep {
				left = append(left, there[j])
			}
		}
		there = left
	}
	if n := len(there); n < 32 || n > 24+7+5+12 {
		t.Errorf("%d are left after 120 days", n)
	}
	if oldest := there[0].Sub(there[len(there)-1]); oldest < 110*24*time.Hour {
		t.Errorf("the oldest is %v old", oldest)
	}
}

func TestParseName(t *testing.T) {
	good := "alice.b-01234567-20261122T173000Z-i42.rootd"
	b, ok := parseName(good)
	if !ok || b.Index != 42 || b.Cluster != "01234567" || !b.Taken.Equal(time.Date(2026, 11, 22, 17, 30, 0, 0, time.UTC)) {
		t.Errorf("%s: %+v, %v", good, b, ok)
	}
	for _, name := range []string{
		"", "x.rootd", "alice-0123456x-20261122T173000Z-i42.rootd", "alice-01234567-20261322T173000Z-i42.rootd", "alice-01234567-20261122T173000Z-i42.rootd.partial",
		".alice-01234567-20261122T173000Z-i42.rootd.partial", "alice-01234567-20261122T173000Z-i99999999999999999999999.rootd", "a/b-01234567-20261122T173000Z-i42.rootd",
	} {
		if _, ok := parseName(name); ok {
			t.Errorf("%q is taken for a backup", name)
		}
	}
}
