// Package propose makes few and full log entries out of many sightings.
package propose
