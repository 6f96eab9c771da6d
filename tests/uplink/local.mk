# tests of uplink
