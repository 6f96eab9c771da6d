# tests of router
