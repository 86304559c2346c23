// Package mmdb knows positions from a database file in the MaxMind format: GeoLite2 City, GeoIP2 City, DB-IP City and others that
// have a location in their records. Nothing is downloaded: somebody puts the file there, and may replace it at any time.
//
// In: a file. Out: a [DB], immutable and wholly checked, and [File], which follows a file and always holds the last good DB of
// it. Any goroutine may call anything; [File.Run] is the only one that reads the file after the start.
//
// The whole file is read into memory: a file that is truncated under a memory map kills the process. Invariants: what is not
// a sound database is refused with the reason, never with a panic, and the one before stays in use; a lookup allocates
// nothing.
package mmdb

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/oschwald/geoip2-golang/v2"
	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/rootd/rootd/geo"
)

// ErrDatabase is wrapped by refusals of what is no database of positions.
var ErrDatabase = errors.New("not a database of positions")

// Info is what identifies a database.
type Info struct {
	Type   string // as the file says, such as "GeoLite2-City"
	Built  time.Time
	Size   int // bytes
	SHA256 [sha256.Size]byte
}

// Short returns the first bytes of the hash as text: enough to tell databases apart.
func (i Info) Short() string { return hex.EncodeToString(i.SHA256[:8]) }

// DB is a database that was checked. Immutable.
type DB struct {
	Info
	reader *maxminddb.Reader
	spare  sync.Pool // of *record, so that a lookup allocates nothing
}

var _ geo.Locator = (*DB)(nil)

// record is what a position needs of a database's record. Fields that are missing stay as they were.
type record struct {
	Location struct {
		Latitude  float64 `maxminddb:"latitude"`
		Longitude float64 `maxminddb:"longitude"`
		Radius    uint16  `maxminddb:"accuracy_radius"`
	} `maxminddb:"location"`
}

// Parse checks a whole database, and keeps b. That takes a second or two for a large one.
func Parse(b []byte) (db *DB, err error) {
	defer func() {
		if r := recover(); r != nil { // the reader of a damaged file is somebody else's code
			db, err = nil, fmt.Errorf("%w: reading it ends in %v", ErrDatabase, r)
		}
	}()
	reader, err := maxminddb.OpenBytes(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDatabase, err)
	}
	if err := reader.Verify(); err != nil {
		return nil, fmt.Errorf("%w: it is damaged: %w", ErrDatabase, err)
	}
	db = &DB{
		reader: reader,
		Info: Info{
			Type: reader.Metadata.DatabaseType, Built: reader.Metadata.BuildTime().UTC(), Size: len(b), SHA256: sha256.Sum256(b),
		},
		spare: sync.Pool{New: func() any { return new(record) }},
	}
	if err := db.holdsPositions(); err != nil {
		return nil, err
	}
	return db, nil
}

// holdsPositions decodes everything that a lookup would, and refuses what has no position anywhere.
func (db *DB) holdsPositions() error {
	found, rec := 0, new(record)
	for r := range db.reader.Networks() {
		_, ok, err := db.read(r, rec)
		if err != nil {
			return fmt.Errorf("%w: the record of %s: %w", ErrDatabase, r.Prefix(), err)
		}
		if ok {
			found++
		}
	}
	if found == 0 {
		return fmt.Errorf("%w: no record of this %s has a location: a City database is needed", ErrDatabase, db.Type)
	}
	return nil
}

// Locate implements [geo.Locator]. It names no city: see [DB.City].
func (db *DB) Locate(a netip.Addr) (geo.Place, bool) {
	rec := db.spare.Get().(*record)
	p, ok, err := db.read(db.reader.Lookup(a.Unmap().WithZone("")), rec)
	db.spare.Put(rec)
	return p, ok && err == nil
}

// read returns the place of a record, and false if it has none.
func (db *DB) read(r maxminddb.Result, rec *record) (geo.Place, bool, error) {
	l := &rec.Location
	l.Latitude, l.Longitude, l.Radius = math.NaN(), math.NaN(), 0
	if err := r.Decode(rec); err != nil {
		return geo.Place{}, false, err
	}
	if !(math.Abs(l.Latitude) <= 90 && math.Abs(l.Longitude) <= 180) { // nor if there is none
		return geo.Place{}, false, nil
	}
	return geo.Place{Unit: geo.Point{Lat: l.Latitude, Lon: l.Longitude}.Unit(), RadiusKm: int(l.Radius), Source: "database"}, true, nil
}

// City is the place of an address with its names, for people, and the network that it is true for.
func (db *DB) City(a netip.Addr) (geo.Place, netip.Prefix, bool) {
	p, ok := db.Locate(a)
	if !ok {
		return p, netip.Prefix{}, false
	}
	r := db.reader.Lookup(a.Unmap().WithZone(""))
	var full geoip2.City
	if r.Decode(&full) == nil {
		p.City, p.Country = full.City.Names.English, full.Country.ISOCode
	}
	return p, r.Prefix(), true
}
