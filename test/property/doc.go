// Package property holds tests about many packages at once that must hold for
// every cluster and every order of events, tried on random ones.
package property
