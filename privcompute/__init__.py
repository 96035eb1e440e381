"""Privacy computing: organisations compute jointly on data that none of them shows to another."""
