"""What we test Perdure with, shipped so that users can test their workflows, nodes and stores with it."""
