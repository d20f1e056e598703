// Package certs gives the webhook server a certificate that the API server
// trusts, with nothing to install beside Palisade.
//
// A certificate authority lives in a Secret: the one that signs, the one that
// will sign next, and the certificate of the one before. All three are in the
// webhook configuration's caBundle, so that every replica may be a step ahead or
// behind and still be trusted. Each replica issues its own serving certificate
// in memory and renews it in time.
package certs
