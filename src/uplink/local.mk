# sources of waypost-uplink
