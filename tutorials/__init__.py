"""The chapters, their pictures, the exercises, and the scripts that build and check them."""
