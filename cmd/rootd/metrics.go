package main

import (
	gometrics "github.com/hashicorp/go-metrics"
	gmprom "github.com/hashicorp/go-metrics/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/rootd/rootd/packetpath"
)

// metricDef is a metric as docs/metrics.md lists it: the name without "rootd_", its type and one sentence.
type metricDef struct {
	name, kind, help string
	labels           []string
}

const (
	counter = "counter"
	gauge   = "gauge"
)

// metricDefs lists every metric of rootd itself. Those of the Go runtime, the process and hashicorp/raft keep the
// names that their libraries give them.
func metricDefs() []metricDef {
	defs := make([]metricDef, 0, 100)
	for _, d := range packetpath.CounterDefs {
		defs = append(defs, metricDef{name: d.Name + "_total", kind: counter, help: d.Help})
	}
	for _, m := range memberMetrics() {
		defs = append(defs, m.metricDef)
	}
	return defs
}

// sample is the value of a metric now.
type sample struct {
	value  float64
	labels []string
}

type memberMetric struct {
	metricDef
	read func(*member) []sample
}

func one(v float64) []sample { return []sample{{value: v}} }

// collector hands the counters of all packages to Prometheus: they are read when somebody asks, never pushed.
type collector struct {
	m        *member
	counters [len(packetpath.CounterDefs)]*prometheus.Desc
	metrics  []memberMetric
	descs    []*prometheus.Desc
}

func newCollector(m *member) *collector {
	c := &collector{m: m, metrics: memberMetrics()}
	for i, d := range packetpath.CounterDefs {
		c.counters[i] = prometheus.NewDesc("rootd_"+d.Name+"_total", d.Help, nil, nil)
	}
	for _, d := range c.metrics {
		c.descs = append(c.descs, prometheus.NewDesc("rootd_"+d.name, d.help, d.labels, nil))
	}
	return c
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.counters {
		out <- d
	}
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.m.root.Stats()
	for i, d := range c.counters {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(s.Counters[i]))
	}
	for i, d := range c.metrics {
		kind := prometheus.GaugeValue
		if d.kind == counter {
			kind = prometheus.CounterValue
		}
		for _, v := range d.read(c.m) {
			out <- prometheus.MustNewConstMetric(c.descs[i], kind, v.value, v.labels...)
		}
	}
}

// newRegistry returns the registry behind /metrics. Raft reports through the one global sink of its metrics library,
// which is why this is called once per process.
func newRegistry(m *member) (*prometheus.Registry, error) {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newCollector(m))
	sink, err := gmprom.NewPrometheusSinkFrom(gmprom.PrometheusOpts{Registerer: r})
	if err != nil {
		return nil, err
	}
	conf := gometrics.DefaultConfig("rootd")
	conf.EnableHostname, conf.EnableRuntimeMetrics = false, false
	if _, err := gometrics.NewGlobal(conf, sink); err != nil {
		return nil, err
	}
	return r, nil
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
