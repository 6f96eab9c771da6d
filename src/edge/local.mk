# sources of waypost-edge
