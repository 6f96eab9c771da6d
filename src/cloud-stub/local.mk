# sources of waypost-cloud-stub
